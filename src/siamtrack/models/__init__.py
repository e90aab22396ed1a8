"""Networks: `families/` has one file a tracker family; backbones, necks, correlations and heads are what they share.

`siamese.py` says what tracking needs of a network (`Matcher`), `losses.py` has what the families' losses share.
"""
