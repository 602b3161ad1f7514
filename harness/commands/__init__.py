"""What each command does. Empty, so that what needs no PyTorch loads none."""
