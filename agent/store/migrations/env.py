"""Alembic's entry: migrations run inside the transaction that Store hands over."""

from alembic import context

from agent.store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
