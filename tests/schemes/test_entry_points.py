"""`iterate`, callbacks and `solve_many` see the run that `solve` does, in every scheme."""

import amcore
from agreement import assert_same_bits
from schemes.cases import on_backends, on_examples


@on_backends
@on_examples
def test_iterate_is_solve(case, backend):
    run = case.solve(max_iter=4, backend=backend)
    sweeps = 0
    for step in case.iterate(max_iter=4, backend=backend):
        sweeps += 1
        assert step.sweep == sweeps == len(step.trace)
        assert step.record.objective == run.trace.objective[sweeps]
        assert step.weights[0][0] is step.state["W1"]
    assert sweeps == 4
    assert_same_bits(step, run)


class Recorder:
    def __init__(self):
        self.events, self.states, self.objectives = [], [], []

    def begin(self, step):
        self._see("begin", step)

    def step(self, step):
        self._see("step", step)

    def end(self, solution):
        self.events.append("end")

    def _see(self, event, step):
        self.events.append(event)
        self.states.append(step.state.copy())
        self.objectives.append(step.record.objective)


@on_backends
@on_examples
def test_callbacks_see_every_sweep_and_change_nothing(case, backend):
    recorder = Recorder()
    seen = case.solve(max_iter=3, callbacks=[recorder], backend=backend)
    assert recorder.events == ["begin", "step", "step", "step", "end"]
    assert recorder.objectives == seen.trace.objective.tolist()
    assert_same_bits(seen, case.solve(max_iter=3, backend=backend))
    shorter = case.solve(max_iter=2, backend=backend).state
    assert all((recorder.states[2][name] == array).all() for name, array in shorter.items())


@on_examples
def test_solve_many_is_solve(case):
    options = {"max_iter": 3, "measure_every": 2}
    runs = amcore.solve_many(case.problem(), case.scheme(), seed=range(3), num_threads=2, **options)
    for seed, run in enumerate(runs):
        assert_same_bits(run, amcore.solve(case.problem(), case.scheme(), seed=seed, **options))
