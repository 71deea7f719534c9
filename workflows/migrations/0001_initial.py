import autopilot.common.clock
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.text
import django_fsm
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Workflow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(max_length=100, unique=True)),
                ('name', models.CharField(max_length=200)),
                ('description', models.TextField(blank=True, default='', max_length=4000)),
                ('labels', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(default=autopilot.common.clock.now, editable=False)),
                ('updated_at', models.DateTimeField(default=autopilot.common.clock.now, editable=False)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['name', 'id'],
                'permissions': [('publish_workflow', 'Can publish a version of a workflow')],
            },
        ),
        migrations.CreateModel(
            name='WorkflowVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.CharField(editable=False, max_length=64)),
                ('major', models.PositiveBigIntegerField(editable=False)),
                ('minor', models.PositiveBigIntegerField(editable=False)),
                ('patch', models.PositiveBigIntegerField(editable=False)),
                ('state', django_fsm.FSMField(choices=[('draft', 'draft'), ('published', 'published'), ('deprecated', 'deprecated'), ('archived', 'archived')], default='draft', max_length=16, protected=True)),
                ('definition', models.JSONField()),
                ('content_hash', models.CharField(editable=False, max_length=64)),
                ('changelog', models.TextField(blank=True, default='', max_length=4000)),
                ('created_at', models.DateTimeField(default=autopilot.common.clock.now, editable=False)),
                ('updated_at', models.DateTimeField(default=autopilot.common.clock.now, editable=False)),
                ('published_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('author', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('workflow', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='workflows.workflow')),
            ],
            options={
                'ordering': ['workflow_id', '-major', '-minor', '-patch'],
                'default_permissions': (),
            },
        ),
        migrations.AddIndex(
            model_name='workflow',
            index=models.Index(fields=['name', 'id'], name='workflow_name'),
        ),
        migrations.AddIndex(
            model_name='workflow',
            index=django.contrib.postgres.indexes.GinIndex(fields=['labels'], name='workflow_labels', opclasses=['jsonb_path_ops']),
        ),
        migrations.AddConstraint(
            model_name='workflow',
            constraint=models.CheckConstraint(condition=models.Q(('slug__regex', '^[a-z0-9]+(-[a-z0-9]+)*$')), name='workflow_slug_form'),
        ),
        migrations.AddConstraint(
            model_name='workflow',
            constraint=models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='workflow_name_given'),
        ),
        migrations.AddIndex(
            model_name='workflowversion',
            index=models.Index(condition=models.Q(('state', 'published')), fields=['workflow', '-major', '-minor', '-patch'], name='version_live'),
        ),
        migrations.AddIndex(
            model_name='workflowversion',
            index=models.Index(fields=['workflow', '-major', '-minor', '-patch'], name='version_by_precedence'),
        ),
        migrations.AddConstraint(
            model_name='workflowversion',
            constraint=models.UniqueConstraint(fields=('workflow', 'version'), name='version_unique'),
        ),
        migrations.AddConstraint(
            model_name='workflowversion',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'draft')), fields=('workflow',), name='version_one_draft'),
        ),
        migrations.AddConstraint(
            model_name='workflowversion',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['draft', 'published', 'deprecated', 'archived'])), name='version_state_known'),
        ),
        migrations.AddConstraint(
            model_name='workflowversion',
            constraint=models.CheckConstraint(condition=models.Q(('version', django.db.models.functions.text.Concat(django.db.models.functions.comparison.Cast(models.F('major'), models.TextField()), models.Value('.'), django.db.models.functions.comparison.Cast(models.F('minor'), models.TextField()), models.Value('.'), django.db.models.functions.comparison.Cast(models.F('patch'), models.TextField()), output_field=models.TextField()))), name='version_numbers_agree'),
        ),
        migrations.AddConstraint(
            model_name='workflowversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('published_at__isnull', True), ('state', 'draft')), models.Q(models.Q(('state', 'draft'), _negated=True), ('published_at__isnull', False)), _connector='OR'), name='version_published_at_set'),
        ),
        migrations.AddConstraint(
            model_name='workflowversion',
            constraint=models.CheckConstraint(condition=models.Q(('content_hash__regex', '^[0-9a-f]{64}$')), name='version_hash_form'),
        ),
    ]
