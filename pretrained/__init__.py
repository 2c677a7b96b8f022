"""Trained models shipped with the package; see the cards (``*.md``) beside them."""
