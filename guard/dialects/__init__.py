"""What other vendors' moderation says, said from our verdicts: their names, their numbers, their shapes.

`taxonomy` gives a verdict's categories under other names; one module per vendor makes the answers. Nothing here knows
of HTTP. How each foreign category is computed is in docs/dialects.md, which is made from these tables.
"""
