-- A task whose worker ended runs next on trial, in a process of its own. One that takes its worker down from there, say by
-- a container's memory limit that ends everything, is told from one with bad luck by how often that happens.
ALTER TABLE ai_server_tasks
  ADD COLUMN isolated_runs INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'runs on trial whose ends nobody has told' AFTER crashes;
