"""What schedulers are made of: the words of the family, and what several of its members share."""
