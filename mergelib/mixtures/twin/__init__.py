"""Twin-Merging: a shared expert, and of each expert a compressed rest that a router doses."""
