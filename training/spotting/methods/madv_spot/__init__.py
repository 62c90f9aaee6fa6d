"""``madv-spot``: MADV-Net's encoder on windows of motion, with an answer for every fifteenth of a second."""
