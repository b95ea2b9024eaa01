"""What is compared with: a module and an environment of its own each."""

# The network of all: width of the embeddings, units of the MLP.
WIDTH, UNITS = 16, (256, 128, 64)
