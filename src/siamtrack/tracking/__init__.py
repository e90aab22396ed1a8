"""From network candidates to boxes: ranking, state, and the Tracker."""
