"""Building public images from the recipes of the catalogue."""
