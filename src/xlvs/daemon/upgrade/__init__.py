"""What a start after another build, or with another size, has to do beside what every start does."""
