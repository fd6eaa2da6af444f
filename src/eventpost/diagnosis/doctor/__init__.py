"""What the doctor is made of: rungs, verdicts, and looks at the way to a peer. Changes nothing."""
