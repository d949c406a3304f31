"""The programs of the command line: flags and words alone, a page each; what they call is in the other rooms."""
