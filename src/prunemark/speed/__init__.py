"""How fast training and scoring are here, against programs written in the usual way."""
