"""How much the holder of a key may send."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "api_keys",
        sa.Column("tier", sa.String(length=20), server_default="standard", nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_api_keys_tier"), "api_keys", "tier IN ('standard', 'partner', 'unlimited')"
    )


def downgrade() -> None:
    op.drop_column("api_keys", "tier")
