"""From the provider's specification to a reviewed change of ours: see scripts/update_spec.py."""
