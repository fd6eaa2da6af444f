"""The doctor's rounds: what is declared becomes ladders, and each is climbed. Reads only, unless a
round trip was asked for."""
