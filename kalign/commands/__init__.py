"""The commands of the command line, a file for each system; kalign.cli lists them."""
