"""Feature networks: 8-bit images in, named feature vectors out."""
