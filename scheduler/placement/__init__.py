"""From pending pods to bindings: queue, framework, greedy, plan, checker, cycle, binding.

Deciding is pure (framework, greedy, queue, plan, checker); cycle and binding talk to the store.
Must not know HTTP, drivers or the controllers.
"""
