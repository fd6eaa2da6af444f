"""What went wrong: evidence in, a numbered finding out, with its cause, the check and the fix."""
