"""Policies under attack: fixed and learned attackers, and the search for the strongest."""
