"""Tasks that change a picture."""
