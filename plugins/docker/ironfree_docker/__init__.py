"""The Docker Engine driver of Ironfree."""
