# SPDX-License-Identifier: GPL-2.0-or-later
# Sessions have no root; whatever they hand over is delivered with the identity its transport asks for.
use strict;
use warnings;

my $games = getpwnam 'games';

# The mailbox holds n messages, all of its owner.
sub in_mailbox {
    my ($lab, $n) = @_;
    my $files = sub { glob "$lab->{dir}/mail/box/new/*" };
    $lab->wait_for(sub { my @f = $files->(); @f >= $n }, 10);
    my @f = $files->();
    return join ' ', scalar(@f), grep { (stat)[4] != $games } @f;
}

part('hand-over' => sub {
    my ($lab) = @_;
    my $marker = "$lab->{dir}/hold";
    $lab->start(main => "queue_only_file = smtp$marker\nlog_selector = +all\n", acl => <<'ACL');
  warn local_parts = ^queue
       queue = slow
  warn local_parts = ^pass
       control = queue/first_pass_route
ACL
    my $noted = "$lab->{dir}/sink";
    $lab->sink(2626, $noted);
    is('plain: taken', substr($lab->send_message('a@b.test', 'plain@local.test'), 0, 6), '250 OK');
    is('plain: delivered as the owner', in_mailbox($lab, 1), '1');
    $lab->send_message('a@b.test', 'queue@local.test');
    is('named queue: delivered as the owner', in_mailbox($lab, 2), '2');
    $lab->wait_for(sub { !glob "$lab->{dir}/spool/slow/input/*" }, 5);
    is('named queue: nothing is left', join(' ', glob "$lab->{dir}/spool/slow/input/*"), '');
    $lab->send_message('a@b.test', 'pass@local.test', 'pass@far.test');
    is('first pass: the local recipient', in_mailbox($lab, 3), '3');
    check('first pass: the remote one waits', $lab->log_has(qr/== pass\@far\.test .*explicitly queued/));
    DaemonLab::spew($marker, '');
    $lab->send_message('a@b.test', 'local@local.test', 'held@far.test');
    is('queue_only_file=smtp: the local recipient', in_mailbox($lab, 4), '4');
    check('queue_only_file=smtp: the remote one waits', $lab->log_has(qr/== held\@far\.test .*explicitly queued/));
    check('nothing went out', !-e $noted);
    check('nothing was deferred for want of rights', $lab->log('main') !~ /Operation not permitted|EPERM/i);
});

part('held callout' => sub {
    my ($lab) = @_;
    my $noted = "$lab->{dir}/sink";
    $lab->start(acl => "  require verify = recipient/callout=use_sender,hold\n", main => 'hold_domains =');
    $lab->sink(2626, $noted);
    $lab->send_message('a@b.test', 'one@far.test');
    check('remote only: delivered', $lab->log_has(qr/=> one\@far\.test .*\n.*Completed/));
    is('over the connection of the callout', scalar(() = DaemonLab::slurp($noted) =~ /^connect/mg), '1');
    $lab->send_message('a@b.test', 'two@far.test', 'box@local.test');
    check('with a local recipient: delivered', $lab->log_has(qr/=> two\@far\.test .*/) && $lab->log_has(qr/=> box .*T=box[\s\S]*Completed/));
    is('the mailbox is its owner\'s', in_mailbox($lab, 1), '1');
    check('nothing was deferred', $lab->log('main') !~ /==/);
});

part('ETRN' => sub {
    my ($lab) = @_;
    $lab->start(main => "acl_smtp_etrn = accept\nqueue_only\nsmtp_etrn_serialize\n");
    $lab->send_message('a@b.test', 'box@local.test');
    $lab->send_message('a@b.test', 'box@other.invalid');
    my $c = $lab->client;
    $lab->say($c, 'EHLO x');
    is('taken', $lab->say($c, 'ETRN #local.test'), '250 OK');
    is('delivered as the owner', in_mailbox($lab, 1), '1');
    check('the run is over', $lab->log_has(qr/End queue run: .*-R local\.test/));
    is('nothing stays of it', $lab->wait_for(sub { my $r = $lab->say($c, 'ETRN #local.test'); $r =~ /^250/ ? $r : '' }, 5), '250 OK');
    is('a pattern too long to be told', substr($lab->say($c, 'ETRN #' . 'x' x 2000), 0, 3), '458');
    check('other mail was left alone', $lab->log('main') !~ /other\.invalid .*(==|\*\*)/);
});

part('filter test' => sub {
    my ($lab) = @_;
    $lab->write_configuration;
    DaemonLab::spew("$lab->{dir}/filter", "# Exim filter\nif \$message_body contains x then save /dev/null endif\n");
    chmod 0644, "$lab->{dir}/filter";
    my $text = $lab->exim("From: a\@b.test\n\nxyz\n", '-bf', "$lab->{dir}/filter");
    check('it ran', $text =~ /Save message to: \/dev\/null/, $text);
    is('no spool file stays', join(' ', glob "$lab->{dir}/spool/input/*"), '');
});
part('the first start' => sub {
    my ($lab) = @_;
    system('rm', '-rf', "$lab->{dir}/spool") == 0 or die;
    $lab->start;
    my @st = stat "$lab->{dir}/spool";
    is('the spool directory is made, as Exim\'s own', @st ? sprintf('%o %s', $st[2] & 07777, (getpwuid $st[4])[0]) : 'none', '750 mail');
    check('the log begins with the daemon', $lab->log_has(qr/\A.* daemon started: /), $lab->log('main'));
    check('the pid file is there', $lab->wait_for(sub { DaemonLab::slurp("$lab->{dir}/spool/exim-daemon.pid") eq "$lab->{daemon}\n" }));
    $lab->send_message('a@b.test', 'box@local.test');
    is('mail is delivered', in_mailbox($lab, 1), '1');
});
1;
