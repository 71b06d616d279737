"""Whole stories: many processes, real servers, crashes in the middle."""
