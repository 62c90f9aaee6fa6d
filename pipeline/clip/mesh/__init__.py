"""The canonical face mesh: geometry and motion, and the depth and action units that follow from them."""
