"""The canonical face mesh: geometry, motion, and the embedded backend `mesh` made of them."""
