"""Reading the flow table for clients: which flows are meant, how they are written, how they are counted."""
