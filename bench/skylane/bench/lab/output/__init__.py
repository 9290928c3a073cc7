"""What the commands of the lab show with: the live terminal, charts, pages."""
