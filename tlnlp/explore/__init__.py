"""Pages for people: what a table of scores says, night by night, served on this machine (`tlnlp explore`)."""
