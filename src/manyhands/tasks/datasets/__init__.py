"""Image data sets in their official published formats: cards, fetching, reading, checking. Without torch."""
