"""Games for people, in the browser and in the terminal, and recorded games to watch."""
