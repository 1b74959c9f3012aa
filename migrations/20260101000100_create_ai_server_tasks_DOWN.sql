DROP TABLE ai_server_tasks;
