"""The commands of `understudy runs`, a module each: see `dispatch`."""
