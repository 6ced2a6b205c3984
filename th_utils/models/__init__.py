"""Models: what is known of each, where its files come from, how it is brought into shape."""
