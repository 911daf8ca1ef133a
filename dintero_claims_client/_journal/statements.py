"""What is said to SQLite in more than one place."""

from __future__ import annotations

ADD_ROW = "INSERT INTO claim VALUES (?, ?, ?, ?, ?, ?, ?)"

ADD_REJECT = "INSERT INTO reject VALUES (?, ?, ?)"

ADD_REPETITION = "INSERT INTO repetition VALUES (?, ?, ?)"

ADD_SENT = """
INSERT INTO sent SELECT ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM outcome WHERE number = ? AND kind <> 'unknown')
AND NOT EXISTS (SELECT 1 FROM repetition WHERE number = ?)
ON CONFLICT (number) DO UPDATE SET under_way = excluded.under_way, crc = excluded.crc
"""
"""Changes nothing where the row has its outcome; the number is given three times."""

UNMARK_SENT = "UPDATE sent SET under_way = ?, crc = ? WHERE number = ?"

ADD_OUTCOME = """
INSERT INTO outcome SELECT ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM repetition WHERE number = ?)
ON CONFLICT (number) DO UPDATE
SET kind = excluded.kind, data = excluded.data, recovered = excluded.recovered, crc = excluded.crc
WHERE outcome.kind = 'unknown' OR (
    outcome.kind = excluded.kind AND outcome.data = excluded.data AND outcome.recovered = excluded.recovered
)
"""
"""Changes nothing where there is another final one; the number is given twice."""

RECORDS = """
SELECT c.number, c.ref, c.minted, c.digest, c.body, c.line, c.crc, s.*, r.*, o.*
FROM claim AS c
LEFT JOIN sent AS s ON s.number = c.number
LEFT JOIN repetition AS r ON r.number = c.number
LEFT JOIN outcome AS o ON o.number = coalesce(r.original, c.number)
"""

IS_UNSETTLED = "r.number IS NULL AND (o.number IS NULL OR o.kind = 'unknown')"
