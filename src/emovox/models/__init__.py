"""Models: networks and estimators, and the one file that carries them."""
