"""How the shipped encoder is made: data → training → export → calibration → card (`python -m training.run`).

Nothing in `guard` imports this; torch stays here.
"""
