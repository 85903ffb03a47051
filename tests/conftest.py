"""What every test may use: servers, started when the first test asks for one."""

pytest_plugins = ["tests.servers.fixtures"]
