"""Names and order of the two classes and the five lesions: the one source for all of the package.

The lesion abbreviations are those of LA-DNN (Liu et al., medRxiv 10.1101/2020.05.11.20097907).
This module imports nothing, and the Hub carries its source with the weights.
"""

CLASSES = ("NonCOVID", "COVID")
"""Class names in the order of `logits`: index 0 and index 1."""

LESIONS = ("GGO", "Csld", "CrPa", "AirBr", "InSepThi")
"""Lesion abbreviations in the order of `lesion_logits`."""

LESION_NAMES = {
    "GGO": "ground-glass opacity",
    "Csld": "consolidation",
    "CrPa": "crazy paving",
    "AirBr": "air bronchogram",
    "InSepThi": "interlobular septal thickening",
}
"""What each lesion abbreviation stands for, in the radiologist's words."""
