"""What is computed is kept: where, under which key, and what a key depends on."""
