"""What a move is made of."""
