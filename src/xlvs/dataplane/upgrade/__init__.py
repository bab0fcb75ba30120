"""What becomes of pinned maps whose layout or size is another: carried over, made anew, or their flows taken over."""
