"""Command-line programs: flags alone, a page each; what they call is in cnnjax."""
