DROP TABLE ai_server_controls;
DROP TABLE ai_server_workers;
DROP TABLE ai_server_tasks;
