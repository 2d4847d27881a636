"""Policies under attack.

- ``attackers``: who exerts the forces, fixed or learned, and the worlds in which they do
- ``trained``: a new adversary trained against a policy from anywhere
- ``strongest``: the search for the strongest attack on a policy
- ``evaluate``: a policy under every attack
"""
