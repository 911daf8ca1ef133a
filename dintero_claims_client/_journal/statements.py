"""What is said to SQLite in more than one place; those that add are for `bulk.add_all`."""

from __future__ import annotations

ADD_ROW = "INSERT INTO claim VALUES {records}"

ADD_REJECT = "INSERT INTO reject VALUES {records}"

ADD_REPETITION = "INSERT INTO repetition VALUES {records}"

ADD_SENT = """
INSERT INTO sent
WITH given (number, under_way, crc) AS (VALUES {records})
SELECT * FROM given
WHERE NOT EXISTS (SELECT 1 FROM outcome WHERE outcome.number = given.number AND kind <> 'unknown')
AND NOT EXISTS (SELECT 1 FROM repetition WHERE repetition.number = given.number)
ON CONFLICT (number) DO UPDATE SET under_way = excluded.under_way, crc = excluded.crc
"""
"""Changes nothing where the row has its outcome."""

UNMARK_SENT = """
INSERT INTO sent VALUES {records}
ON CONFLICT (number) DO UPDATE SET under_way = excluded.under_way, crc = excluded.crc
"""

COUNT_MARKS = """
SELECT count(*) FROM sent
WHERE under_way = ? AND NOT EXISTS (SELECT 1 FROM outcome WHERE outcome.number = sent.number)
"""

ADD_OUTCOME = """
INSERT INTO outcome
WITH given (number, kind, data, recovered, crc) AS (VALUES {records})
SELECT * FROM given
WHERE NOT EXISTS (SELECT 1 FROM repetition WHERE repetition.number = given.number)
ON CONFLICT (number) DO UPDATE
SET kind = excluded.kind, data = excluded.data, recovered = excluded.recovered, crc = excluded.crc
WHERE outcome.kind = 'unknown' OR (
    outcome.kind = excluded.kind AND outcome.data = excluded.data AND outcome.recovered = excluded.recovered
)
"""
"""Changes nothing where there is another final one."""

IS_ANY_BEGUN = "NOT EXISTS (SELECT 1 FROM fact WHERE key = 'input')"
"""Whether a row without a mark may have been sent: of an input they are there before that."""

RECORDS = f"""
SELECT c.number, c.ref, c.minted, c.digest, c.body, c.line, c.crc, s.*, r.*, o.*, {IS_ANY_BEGUN}
FROM claim AS c
LEFT JOIN sent AS s ON s.number = c.number
LEFT JOIN repetition AS r ON r.number = c.number
LEFT JOIN outcome AS o ON o.number = coalesce(r.original, c.number)
"""  # noqa: S608 - our own words

IS_UNSETTLED = "r.number IS NULL AND (o.number IS NULL OR o.kind = 'unknown')"
