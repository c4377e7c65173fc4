"""One block update a file: the argmin of the objective in one block of variables."""
