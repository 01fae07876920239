"""The parts of the soak: what runs, what is asked, what goes wrong, and what the answers are held against."""
