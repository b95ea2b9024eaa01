"""What is compared with: a module and an environment of its own each."""
